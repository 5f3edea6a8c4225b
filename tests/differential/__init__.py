"""The same operations at Corral and at Apache ZooKeeper, replies compared field by field."""
