"""The data key of a database: what is sealed is sealed under it, and it under the operator's keys.

So those keys are changed without what was sealed: one row is sealed anew.
"""

import secrets

from psycopg import AsyncConnection

from orchestrator.errors import ConfigError
from orchestrator.sealing import Sealer, UnsealableError

KEEP = """
INSERT INTO data_key (sealed) VALUES (%(sealed)s) ON CONFLICT DO NOTHING
"""

READ = """
SELECT sealed FROM data_key
"""

RENEW = """
UPDATE data_key SET sealed = %(renewed)s WHERE sealed = %(sealed)s
"""


async def sealer(connection: AsyncConnection, keys: str) -> Sealer:
    """What seals and opens here, with the data key, which is made when there is none.

    It is sealed anew if that was not done with the first of `keys` (as `secret_keys.split` takes
    them); `ConfigError` when none of them opens it. They open what they sealed themselves, too.
    """
    operators = Sealer(keys)
    sealed = await _kept(connection, operators)
    try:
        data_key = operators.open(sealed)
    except UnsealableError:
        raise ConfigError(
            "PARALLAX_SECRET_KEY opens nothing that is sealed in this database: put the key back"
            " that was there, after the new one if there is one (new,old)."
        ) from None
    if not operators.newest(sealed):
        renewed = {"renewed": operators.seal(data_key), "sealed": sealed}
        await connection.execute(RENEW, renewed)
    return Sealer(f"{data_key},{keys}")


async def _kept(connection: AsyncConnection, operators: Sealer) -> str:
    """The data key, sealed: the same for all who ask."""
    row = await (await connection.execute(READ)).fetchone()
    if row is None:
        await connection.execute(KEEP, {"sealed": operators.seal(secrets.token_hex(32))})
        row = await (await connection.execute(READ)).fetchone()
    assert row  # noqa: S101 - nobody deletes it
    return str(row[0])
