"""Where compiled JAX programs are kept between starts: a warm start is tens of seconds shorter.

Only the environment is touched, so that no room has to import JAX for it; JAX reads it when it is imported.
"""

from __future__ import annotations

import os

from dosetwin.platform.broker_jars import cache_folder


def keep_compilations() -> None:
    """Point JAX at `<user cache>/jax`, unless JAX_COMPILATION_CACHE_DIR says otherwise.

    Call before JAX is imported; child processes inherit it.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
