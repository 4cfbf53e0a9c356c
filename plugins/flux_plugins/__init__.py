"""Services, transports and bootstrap methods: everything a site can swap."""
