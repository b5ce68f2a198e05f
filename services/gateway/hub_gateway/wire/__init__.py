"""The JSON-RPC language on raw bytes.

Pure: nothing here awaits, opens, logs or tells the time. What the hub need not understand stays the bytes it came as.
"""
