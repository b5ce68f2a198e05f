"""What one audience sees of the catalog.

Pure: *allowed* is the filter's verdict, *opened* is what the audience asked for, *visible* is both. Views are values
whose list bytes are made once.
"""
