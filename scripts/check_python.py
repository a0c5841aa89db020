"""Explain why an Airflow cannot be installed with this Python, before pip fails with a long message.

It runs on any ``python3``, so its syntax is that of Python 3.6.
"""

import sys

airflow = sys.argv[1]
have = f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}"
other = "Choose another Python: make PYTHON=python3.12 ..."

if sys.version_info < (3, 11):  # noqa: UP036 - this script checks it
    sys.exit(f"This needs Python 3.11 or newer, and {have}. {other}")
if airflow == "2.11" and sys.version_info >= (3, 13):
    sys.exit(f"Airflow 2.11 needs Python 3.11 or 3.12, and {have}. {other}")
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit(f"{sys.executable} has no venv module. On Debian and Ubuntu: apt-get install python3-venv")
