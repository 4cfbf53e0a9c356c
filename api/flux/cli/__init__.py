"""What commands that submit jobs are made of, for programs and sites: the meaning of their options, and their plugins.

`flux.cli.plugin` is how a site adds options to them (manual page flux-submit(1), PLUGINS).
"""
