"""The entry point. It names the plugin instead of being it, so that `-p corral.testing.plugin` may name it as well."""

pytest_plugins = ["corral.testing.plugin"]
