"""SOAP messages: envelope, headers, faults and attachments, and the codec of an operation."""
