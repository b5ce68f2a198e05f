"""How the hub gets into remote servers that want OAuth: it is their client (2026-07-28 and 2025-11-25
basic/authorization), and each upstream has a `Credential`.

    challenge      what a 401 or 403 says
    urls           well-known addresses, resource indicators
    web            small documents over HTTP
    discovery      from a challenge to the authorization server
    registration   which client the hub is there
    tokens         the token endpoint
    pending        logins that were begun and not answered
    vault          what is kept between starts
    credential     one upstream's access: its header, its renewal
    authorizations all of them, and the answer of a browser
"""
