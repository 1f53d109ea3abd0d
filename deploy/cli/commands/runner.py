"""The command `samovar runner`."""

import os


def runner() -> None:
    """Run one runner. Its settings come from the environment: SAMOVAR_NATS_URL and others."""
    # Imported here, as completion loads the modules of all commands.
    from deploy.event_loop import run_event_loop
    from deploy.logs import configure_logging
    from deploy.settings import read_settings
    from runners.main import serve
    from runners.settings import from_env

    settings = read_settings(from_env, os.environ)
    configure_logging()
    run_event_loop(serve(settings))
