"""Bootstrap methods: how a broker learns its rank and meets its peers (`flux.hooks.kernel.Bootstrap`)."""
