"""How the server is set up: where it listens, whom it believes, what things cost."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cart_core.errors import Refused

SECRET_BYTES = 32
SECRET_ALGORITHMS = ("HS256",)
KEY_ALGORITHMS = ("RS256", "ES256", "EdDSA", "PS256")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens count: one algorithm, issuer and audience, and either a secret or a set of public keys."""

    issuer: str
    audience: str
    algorithm: str
    secret: str | None = None
    jwks: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server needs to know; ``trust`` None means that whoever reaches it may do everything."""

    store: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    trust: Trust | None = None
    prices: Path | None = None
    access_log: bool = True

    def __post_init__(self) -> None:
        if self.trust is None and not is_loopback(self.host):
            raise Refused(
                "bad_settings",
                f"host is {self.host!r}, but without token settings the server listens on loopback only: "
                "set CART_JWT_ISSUER, CART_JWT_AUDIENCE and CART_JWT_SECRET or CART_JWT_JWKS",
            )

    @property
    def open(self) -> bool:
        """Whether callers need no token."""
        return self.trust is None


VARIABLES = {
    "CART_JWT_ISSUER": "the issuer that tokens must name",
    "CART_JWT_AUDIENCE": "the audience that tokens must name",
    "CART_JWT_SECRET": f"the secret of HS256 tokens, {SECRET_BYTES} bytes or more",
    "CART_JWT_JWKS": "a file or https URL with the public keys (a JSON Web Key Set) of the issuer",
    "CART_JWT_ALGORITHM": "the algorithm of tokens signed with a public key's partner; RS256 if it is not set",
}
"""The environment variables with which tokens are set up; set none of them for a server on loopback without tokens."""


def trust_from(environment: Mapping[str, str]) -> Trust | None:
    """Whose tokens count, from VARIABLES; None where none of them is set.

    Raises Refused (bad_settings) where one is missing, or they contradict each other.
    """
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if not given:
        return None
    secret, jwks = given.get("CART_JWT_SECRET"), given.get("CART_JWT_JWKS")
    if (secret is None) == (jwks is None):
        raise Refused("bad_settings", "set either CART_JWT_SECRET or CART_JWT_JWKS, never both and never none")
    for name in ("CART_JWT_ISSUER", "CART_JWT_AUDIENCE"):
        if name not in given:
            raise Refused("bad_settings", f"{name} is not set: {VARIABLES[name]}")
    if secret is not None and len(secret.encode()) < SECRET_BYTES:
        raise Refused("bad_settings", f"CART_JWT_SECRET has {len(secret.encode())} bytes, but must have {SECRET_BYTES}")
    allowed = SECRET_ALGORITHMS if jwks is None else KEY_ALGORITHMS
    algorithm = given.get("CART_JWT_ALGORITHM", allowed[0])
    if algorithm not in allowed:
        raise Refused("bad_settings", f"CART_JWT_ALGORITHM is {algorithm!r}, but must be one of {', '.join(allowed)}")
    return Trust(given["CART_JWT_ISSUER"], given["CART_JWT_AUDIENCE"], algorithm, secret, jwks)


def is_loopback(host: str) -> bool:
    """Whether a host, given by name or address, is this machine and no other."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
