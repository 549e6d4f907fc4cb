"""Item encoders: catalog and training histories -> one vector an item."""
