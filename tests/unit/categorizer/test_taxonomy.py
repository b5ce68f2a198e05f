from __future__ import annotations

import pytest

from hub_categorizer.taxonomy import CATEGORIES, OTHER, Mapping, Taxonomy

BUILT_IN = Taxonomy()

# Upstream, entry, first words of the description, category: public servers as they are.
KNOWN = [
    (
        "filesystem",
        "read_text_file",
        "Read the complete contents of a file from the file system as text.",
        "filesystem",
    ),
    ("filesystem", "search_files", "Recursively search for files and directories matching a pattern.", "filesystem"),
    ("filesystem", "list_allowed_directories", "Returns the list of directories this server may access.", "filesystem"),
    ("excel", "write_data_to_excel", "Write data to Excel worksheet.", "filesystem"),
    ("fetch", "fetch", "Fetches a URL from the internet and extracts its contents as markdown.", "web"),
    ("playwright", "browser_click", "Perform click on a web page", "web"),
    ("puppeteer", "puppeteer_navigate", "Navigate to a URL", "web"),
    ("brave-search", "brave_web_search", "Performs a web search using the Brave Search API.", "search"),
    ("tavily", "tavily-search", "A powerful web search tool that provides comprehensive, real-time results.", "search"),
    ("arxiv", "search_papers", "Search for papers on arXiv with advanced filtering", "search"),
    ("google-maps", "maps_geocode", "Convert an address into geographic coordinates", "search"),
    ("weather", "get_forecast", "Get weather forecast for a location.", "search"),
    ("postgres", "query", "Run a read-only SQL query", "database"),
    ("mysql", "query", "Execute a query", "database"),
    ("redis", "hset", "Set a field in a hash stored at key", "database"),
    ("memory", "create_entities", "Create multiple new entities in the knowledge graph", "database"),
    ("memory", "search_nodes", "Search for nodes in the knowledge graph based on a query", "database"),
    ("git", "git_commit", "Records changes to the repository", "version-control"),
    ("git", "git_status", "Shows the working tree status", "version-control"),
    ("github", "create_issue", "Create a new issue in a GitHub repository", "version-control"),
    ("github", "search_code", "Search for code across GitHub repositories", "version-control"),
    ("gitlab", "create_merge_request", "Create a new merge request in a GitLab project", "version-control"),
    ("docker", "list_containers", "List all Docker containers", "docker"),
    ("kubernetes", "kubectl_get", "Get or list Kubernetes resources by resource type and name", "docker"),
    ("aws", "describe_instances", "Describe EC2 instances", "cloud"),
    ("grafana", "query_prometheus", "Query Prometheus using a PromQL expression", "cloud"),
    ("terraform", "list_workspaces", "List all workspaces of the organization", "cloud"),
    ("npm", "npm_latest", "Get the latest version and changelog of a package", "development"),
    ("shell", "run_command", "Run a shell command", "development"),
    ("figma", "get_design_context", "Generate UI code for a node", "development"),
    ("slack", "slack_post_message", "Post a new message to a Slack channel", "communication"),
    ("gmail", "send_email", "Sends a new email", "communication"),
    ("google-calendar", "list-events", "List events from a calendar", "communication"),
    ("notion", "API-post-page", "Create a page", "communication"),
    ("everything", "echo", "Echoes back the input", "other"),
    ("time", "get_current_time", "Get current time in a specific timezones", "other"),
]

# Bare names behind an upstream's name that says nothing, as people name them.
BARE = [
    ("read_file", "filesystem"),
    ("writeFile", "filesystem"),
    ("list_directory", "filesystem"),
    ("fetch_url", "web"),
    ("take_screenshot", "web"),
    ("web_search", "search"),
    ("search", "search"),
    ("execute_sql", "database"),
    ("list_tables", "database"),
    ("git_commit", "version-control"),
    ("createPullRequest", "version-control"),
    ("list_branches", "version-control"),
    ("run_container", "docker"),
    ("list_s3_buckets", "cloud"),
    ("run_tests", "development"),
    ("execute_command", "development"),
    ("send_email", "communication"),
    ("send_message", "communication"),
]


@pytest.mark.parametrize(("upstream", "name", "description", "category"), KNOWN)
def test_public_servers_are_known(upstream: str, name: str, description: str, category: str) -> None:
    assert BUILT_IN.judged(upstream, name, description).category == category


@pytest.mark.parametrize(("name", "category"), BARE)
def test_bare_names_are_enough(name: str, category: str) -> None:
    assert BUILT_IN.judged("my-server", name, "").category == category


def test_descriptions_are_enough() -> None:
    judged = BUILT_IN.judged("x1", "do", "Run SQL against the PostgreSQL database.")
    assert judged.category == "database"


def test_descriptions_in_chinese_are_read() -> None:
    assert BUILT_IN.judged("x1", "do", "搜索指定的关键词").category == "search"


def test_equal_names_of_two_upstreams_are_kept_apart() -> None:
    assert BUILT_IN.judged("github", "search", "").category == "version-control"
    assert BUILT_IN.judged("mysql", "search", "").category == "database"


def test_what_nothing_points_at_is_other_with_little_confidence() -> None:
    assert BUILT_IN.judged("x1", "frobnicate", "") == (OTHER, 0.1)
    assert BUILT_IN.judged("", "", "") == (OTHER, 0.1)


def test_confidence_is_higher_the_more_agrees() -> None:
    sure = BUILT_IN.judged("github", "create_pull_request", "Create a pull request in a GitHub repository")
    unsure = BUILT_IN.judged("x1", "clone", "")
    assert 0 < unsure.confidence < sure.confidence <= 0.95


def test_longer_cues_hide_shorter_ones() -> None:
    assert BUILT_IN.judged("x1", "get_postal_code", "").category == "search"


def test_no_mapping_fits_by_default() -> None:
    assert BUILT_IN.mapped("github", "search") is None


@pytest.mark.parametrize("pattern", ["github__*", "GITHUB__S?ARCH", "search", "*ear*", "*__search"])
def test_mappings_fit_the_full_and_the_bare_name_and_ignore_case(pattern: str) -> None:
    assert Taxonomy.of((), [Mapping(pattern, "mine")]).mapped("github", "search") == "mine"


@pytest.mark.parametrize("pattern", ["github", "searc", "git?hub__search", "[g]ithub__search", "github__search."])
def test_only_star_and_question_mark_are_special(pattern: str) -> None:
    assert Taxonomy.of((), [Mapping(pattern, "mine")]).mapped("github", "search") is None


def test_mappings_fit_the_public_form_of_an_upstream_name() -> None:
    assert Taxonomy.of((), [Mapping("my_server__*", "mine")]).mapped("my-server", "x") == "mine"
    assert Taxonomy.of((), [Mapping("my-server__*", "mine")]).mapped("my-server", "x") == "mine"


def test_the_first_mapping_wins() -> None:
    taxonomy = Taxonomy.of((), [Mapping("git*", "first"), Mapping("github__*", "second")])
    assert taxonomy.mapped("github", "search") == "first"


def test_the_list_is_closed() -> None:
    assert Taxonomy.of((), ()).categories == CATEGORIES
    taxonomy = Taxonomy.of(["database", "mine", "database"], [Mapping("x", "mapped")])
    assert taxonomy.categories == ("database", "mine", "mapped", OTHER)
    assert taxonomy.judged("github", "create_issue", "Create an issue in a repository").category == OTHER


def test_a_category_of_the_users_own_is_known_by_its_name() -> None:
    assert Taxonomy.of(["payments"], ()).judged("x1", "create_payment", "").category == "payments"
