"""What a running service has not read yet of the configuration, and the command that lets it.

It joins the control socket, the units' files and the terminal.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from guerillabackup.cli.common import Invocation
from guerillabackup.command_option import config_dir_option
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError

if TYPE_CHECKING:
    from guerillabackup.observe.control_client import ServiceClient

RUNTIME = "GeneralRuntimeDataDir"


def reload_command(config_directory: str) -> str:
    """What to type after a change."""
    return f"guerillabackup generator reload{config_dir_option(config_directory)}"


def is_service_there(invocation: Invocation) -> bool:
    """Whether a generator listens where the configuration says; not where that cannot be told."""
    from guerillabackup.generator.control_messages import GENERATOR
    from guerillabackup.observe.control_client import ServiceClient

    try:
        directory = invocation.configuration().get(RUNTIME)
        if directory is None:
            return False
        with ServiceClient(directory, GENERATOR):
            return True
    except (GuerillaBackupError, OSError):
        return False


def find_unread(
    invocation: Invocation,
    client: "ServiceClient",
    unit_names: Iterable[str],
    source_urls: Iterable[SourceUrl],
) -> list[str]:
    """Which of these units and sources the configuration has, and the service does not know."""
    from guerillabackup.cli.unit_survey import survey_units
    from guerillabackup.generator.control_messages import Request

    try:
        survey = survey_units(invocation.configuration())
        units = client.ask(Request("list").describe())["units"]
    except GuerillaBackupError:
        return []
    known_units = {unit["unit"] for unit in units}
    known_sources = {source["source"] for unit in units for source in unit["sources"]}
    found = []
    for view in survey.units:
        unknown = [str(url) for url in source_urls if str(url) not in known_sources]
        found += [f"source {url} of unit {view.name}" for url in unknown if url in (view.sources or ())]
        if view.name in unit_names and view.name not in known_units:
            found.append(f"unit {view.name}")
    command = reload_command(invocation.config_directory)
    return [
        f"the configuration has {what}, which the service has not read yet; let it with: {command}"
        for what in found
    ]


def with_unread(
    error: ConfigError,
    invocation: Invocation,
    client: "ServiceClient",
    unit_names: Iterable[str],
    source_urls: Iterable[SourceUrl],
) -> ConfigError:
    """The service's error, with what it has not read yet where that is why."""
    return ConfigError(*error.problems, *find_unread(invocation, client, unit_names, source_urls))
