"""Rc plugins that come with Flux (`flux.hooks.rc`)."""
