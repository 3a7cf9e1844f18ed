"""``google.api.http``: which request reaches which rpc, and how path, query and body make one message."""
