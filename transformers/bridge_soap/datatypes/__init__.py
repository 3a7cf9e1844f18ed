"""Simple types: lexical spaces, facets, and their values in JSON both ways (XML Schema 1.0, part 2)."""
