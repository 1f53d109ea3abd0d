"""The command `samovar gateway`."""

import os


def gateway() -> None:
    """Run one gateway. Its settings come from the environment: SAMOVAR_DATABASE_URL, SAMOVAR_NATS_URL and others."""
    # Imported here, as completion loads the modules of all commands.
    from deploy.errors import UsageError
    from deploy.event_loop import run_event_loop
    from deploy.logs import configure_logging
    from deploy.migrate import migrate
    from deploy.settings import read_settings
    from gateway.http.sockets import CannotListen, bind_sockets
    from gateway.main import serve
    from gateway.settings import from_env

    settings = read_settings(from_env, os.environ)
    configure_logging()
    try:
        sockets = bind_sockets(settings)
    except CannotListen as error:
        raise UsageError(str(error)) from None

    async def migrate_and_serve() -> None:
        await migrate(settings.database_url)
        await serve(settings, sockets)

    run_event_loop(migrate_and_serve())
