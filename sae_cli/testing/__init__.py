"""Contract tests for the parts of a plug-in: what every part of ours passes, too.

::

    from sae_cli.testing import contract_tests

    test_my_parts = contract_tests("my_parts.py", pages="pages")

pytest is imported by its own tests alone. Nothing here knows a certain part.
"""

from __future__ import annotations

from sae_cli.testing.contracts import Contract, contract_tests, contracts_of

__all__ = ["Contract", "contract_tests", "contracts_of"]
