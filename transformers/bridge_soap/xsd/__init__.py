"""XML Schema 1.0, part 1: from documents to components, and what they mean together."""
