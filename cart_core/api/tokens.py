"""Bearer tokens: who a caller is. One algorithm, one issuer, one audience; nothing in a token chooses them."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jwt

from cart_core import rules
from cart_core.api.problems import ApiProblem
from cart_core.api.settings import Trust
from cart_core.service import Who
from cart_core.store.at_rest import FORGOTTEN

KEPT_TOKENS = 10_000
TOKEN_CHARS = 8_192
REFRESH_EVERY = timedelta(seconds=60)
FETCH_TIMEOUT_S = 5.0
JWKS_BYTES = 1_000_000
Clock = Callable[[], datetime]


class Tokens:
    """Checks tokens and remembers the good ones until they expire."""

    def __init__(self, trust: Trust, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._keys = Keys(trust, clock)
        self._kept: OrderedDict[str, tuple[Who, float]] = OrderedDict()

    def who(self, token: str) -> Who:
        """Whom a token names. Raises ApiProblem 401 (invalid_token) with the reason, where it counts for nothing."""
        now = self._clock().timestamp()
        known = self._kept.get(token)
        if known is not None and now < known[1]:
            return known[0]
        claims = self._claims(token)
        if now >= _seconds(claims, "exp") or ("nbf" in claims and now < _seconds(claims, "nbf")):
            raise _invalid("it has expired or is not valid yet")
        who = _who(claims)
        self._kept[token] = (who, _seconds(claims, "exp"))
        while len(self._kept) > KEPT_TOKENS:
            self._kept.popitem(last=False)
        return who

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_CHARS:
            raise _invalid(f"it is longer than {TOKEN_CHARS} characters")
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[self._trust.algorithm],
                audience=self._trust.audience,
                issuer=self._trust.issuer,
                options={
                    "require": ["exp", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _invalid(str(error) or type(error).__name__) from error
        return claims


class Keys:
    """The key or keys that tokens are checked with; a set of public keys is read again when a token names a new one."""

    def __init__(self, trust: Trust, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = datetime.min.replace(tzinfo=UTC)
        self._by_id: dict[str | None, Any] = {}

    def find(self, key_id: object) -> Any:
        """The key of that id; the only one of a set where a token names none. Raises ApiProblem 401."""
        if self._trust.secret is not None:
            return self._trust.secret
        if key_id not in self._by_id:
            self._read()
        if key_id is None and len(self._by_id) == 1:
            return next(iter(self._by_id.values()))
        if not isinstance(key_id, str) or key_id not in self._by_id:
            raise _invalid("its key is not one of the issuer's")
        return self._by_id[key_id]

    def _read(self) -> None:
        with self._lock:
            if self._clock() - self._read_at < REFRESH_EVERY:
                return
            self._read_at = self._clock()
            try:
                found = jwt.PyJWKSet.from_dict(json.loads(_text(self._trust.jwks or "")))
            except (OSError, ValueError, jwt.PyJWTError) as error:
                raise ApiProblem(503, "keys_unavailable", "the issuer's keys cannot be read at the moment") from error
            public = [each for each in found.keys if each.key_type != "oct"]
            self._by_id = {each.key_id: each.key for each in public}


def _text(place: str) -> str:
    if not place.startswith("https://"):
        return Path(place).read_text()
    with urlopen(place, timeout=FETCH_TIMEOUT_S) as answer:  # noqa: S310 - the scheme was checked
        content: bytes = answer.read(JWKS_BYTES)
    return content.decode()


def _who(claims: dict[str, Any]) -> Who:
    user_id, scopes = claims["sub"], claims.get("scope", "")
    if not rules.NAME.allows(user_id) or user_id.startswith(FORGOTTEN):
        raise _invalid("its subject cannot be a user's id")
    granted = scopes.split() if isinstance(scopes, str) else scopes
    if not isinstance(granted, list):
        raise _invalid("its scope is no text")
    return Who(user_id, any_cart="service" in granted, may_read="service" in granted or "support" in granted)


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if type(value) not in (int, float):
        raise _invalid(f"its {name} is no number")
    return float(value)


def _invalid(reason: str) -> ApiProblem:
    return ApiProblem(
        401,
        "invalid_token",
        f"the token does not count: {reason}",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
