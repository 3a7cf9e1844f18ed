"""``google.api.http``: which call reaches which rpc, and how path, query and body make one message."""
