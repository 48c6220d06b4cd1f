"""Whose word counts: tokens of one algorithm, issuer and audience, and no others."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cart_core.api.problems import ApiProblem
from cart_core.api.settings import Settings, Trust, is_loopback, trust_from
from cart_core.api.tokens import Tokens
from cart_core.errors import Refused
from cart_core.service import Who
from tests.cart_core.api.conftest import SECRET, TRUST

ISSUER = {"CART_JWT_ISSUER": TRUST.issuer, "CART_JWT_AUDIENCE": TRUST.audience}


def reason(tokens: Tokens, token: str) -> str:
    """Why a token does not count."""
    with pytest.raises(ApiProblem) as caught:
        tokens.who(token)
    assert (caught.value.status, caught.value.code) == (401, "invalid_token")
    return caught.value.detail


def test_a_token_names_its_user_and_scopes(token: Callable[..., str], clock: Any) -> None:
    """Scopes are words in one text, or a list of them."""
    tokens = Tokens(TRUST, clock)
    assert tokens.who(token("ann")) == Who("ann")
    assert tokens.who(token("sue", scope="openid support")) == Who("sue", may_read=True)
    assert tokens.who(token("shop", scope=["service"])) == Who("shop", any_cart=True, may_read=True)


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"aud": "other"}, "Audience"),
        ({"aud": None}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "never"}, "exp"),
        ({"exp": True}, "exp"),
        ({"sub": 5}, "ubject"),
        ({"sub": ""}, "subject"),
        ({"sub": "a\0b"}, "subject"),
        ({"sub": "forgotten-1"}, "subject"),
        ({"scope": 5}, "scope"),
        ({"key": "a secret of somebody else that is long enough"}, "ignature"),
        ({"algorithm": "HS384"}, "alg"),
    ],
)
def test_a_token_that_lacks_something_does_not_count(
    token: Callable[..., str], clock: Any, claims: dict[str, Any], told: str
) -> None:
    """Issuer, audience, expiry, subject, signature and algorithm are all checked."""
    user = claims.pop("sub", "ann")
    assert told in reason(Tokens(TRUST, clock), token(user, **claims))


def test_an_unsigned_token_does_not_count(token: Callable[..., str], clock: Any) -> None:
    """``alg=none`` is refused, whatever follows the last dot."""
    unsigned = token("ann", key=None, algorithm=None)
    for text in (unsigned, unsigned + "x", unsigned.replace(".", "..", 1), "", "a.b.c", "é" * 10, "x" * 9000):
        assert reason(Tokens(TRUST, clock), text)


def test_a_changed_token_does_not_count(token: Callable[..., str], clock: Any) -> None:
    """Another user's name under the old signature."""
    head, _, signature = token("ann").split(".")
    body = base64.urlsafe_b64encode(json.dumps({"sub": "ben"}).encode()).decode().rstrip("=")
    assert "ignature" in reason(Tokens(TRUST, clock), f"{head}.{body}.{signature}")


def test_a_token_counts_until_it_expires(token: Callable[..., str], clock: Any) -> None:
    """Also one that was seen before; not before it is valid."""
    tokens = Tokens(TRUST, clock)
    text = token("ann")
    later = token("ben", nbf=clock.now + timedelta(minutes=5))
    assert "not valid yet" in reason(tokens, later)
    clock.advance(minutes=59)
    assert (tokens.who(text), tokens.who(later)) == (Who("ann"), Who("ben"))
    clock.advance(minutes=1)
    assert "expired" in reason(tokens, text)


@pytest.fixture
def rsa_key() -> rsa.RSAPrivateKey:
    """An issuer's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(*keys: tuple[str, Any]) -> str:
    """A JSON Web Key Set of public keys, and one secret that must never be used."""
    found = []
    for name, key in keys:
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": name})
    secret = base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    return json.dumps({"keys": [*found, {"kty": "oct", "kid": "secret", "k": secret}]})


def test_tokens_are_checked_with_the_issuers_public_keys(
    token: Callable[..., str], clock: Any, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Found by key id in a set that is read again, at most once a minute, when a new key appears."""
    path = tmp_path / "jwks.json"
    path.write_text(key_set(("k0", rsa_key)))
    tokens = Tokens(Trust(TRUST.issuer, TRUST.audience, "RS256", jwks=str(path)), clock)
    signed = token("ann", key=rsa_key, algorithm="RS256")
    assert "key is not one" in reason(tokens, signed)
    path.write_text(key_set(("k0", rsa_key), ("k1", rsa_key)))
    assert "key is not one" in reason(tokens, signed)
    clock.advance(seconds=61)
    assert tokens.who(signed) == Who("ann")


def test_a_public_key_is_no_secret(
    token: Callable[..., str], clock: Any, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """A token signed with the published key as if it were an HS256 secret, or with the set's secret, is refused."""
    path = tmp_path / "jwks.json"
    path.write_text(key_set(("k1", rsa_key)))
    tokens = Tokens(Trust(TRUST.issuer, TRUST.audience, "RS256", jwks=str(path)), clock)
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k1"}).encode())
    body = jwt.utils.base64url_encode(
        json.dumps(jwt.decode(token("ann"), options={"verify_signature": False})).encode()
    )
    forged = b".".join([head, body, jwt.utils.base64url_encode(signing.sign(head + b"." + body, public))])
    assert reason(tokens, forged.decode())
    assert reason(tokens, jwt.encode({"sub": "ann"}, SECRET, "HS256", headers={"kid": "secret"}))


def test_a_key_of_another_kind_does_not_count(token: Callable[..., str], clock: Any, tmp_path: Path) -> None:
    """The algorithm is pinned: ES256 is no RS256, though the set holds the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "jwks.json"
    path.write_text(key_set(("k1", key)))
    signed = token("ann", key=key, algorithm="ES256")
    assert reason(Tokens(Trust(TRUST.issuer, TRUST.audience, "RS256", jwks=str(path)), clock), signed)
    assert Tokens(Trust(TRUST.issuer, TRUST.audience, "ES256", jwks=str(path)), clock).who(signed) == Who("ann")


def test_keys_that_cannot_be_read_are_the_servers_trouble(
    token: Callable[..., str], clock: Any, tmp_path: Path
) -> None:
    """The caller is told to come again, not that the token is wrong."""
    tokens = Tokens(Trust(TRUST.issuer, TRUST.audience, "RS256", jwks=str(tmp_path / "missing.json")), clock)
    with pytest.raises(ApiProblem) as caught:
        tokens.who(token("ann"))
    assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"CART_JWT_SECRET": SECRET}, "CART_JWT_ISSUER"),
        ({"CART_JWT_ISSUER": "x"}, "never none"),
        ({**ISSUER, "CART_JWT_SECRET": SECRET, "CART_JWT_JWKS": "keys.json"}, "never both"),
        ({**ISSUER, "CART_JWT_SECRET": "short"}, "has 5 bytes, but must have 32"),
        ({**ISSUER, "CART_JWT_SECRET": SECRET, "CART_JWT_ALGORITHM": "none"}, "one of HS256"),
        ({**ISSUER, "CART_JWT_SECRET": SECRET, "CART_JWT_ALGORITHM": "RS256"}, "one of HS256"),
        ({**ISSUER, "CART_JWT_JWKS": "keys.json", "CART_JWT_ALGORITHM": "HS256"}, "one of RS256"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environment: dict[str, str], told: str) -> None:
    """A server does not start with half of them."""
    with pytest.raises(Refused, match=told):
        trust_from(environment)


def test_settings_are_read_from_the_environment() -> None:
    """Either a secret or a set of keys; none of them is a server without tokens."""
    assert trust_from({**ISSUER, "CART_JWT_SECRET": SECRET}) == TRUST
    assert trust_from({**ISSUER, "CART_JWT_JWKS": "keys.json"}) == Trust(
        TRUST.issuer, TRUST.audience, "RS256", jwks="keys.json"
    )
    assert trust_from({}) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example", ""])
def test_a_server_without_tokens_listens_on_loopback_only(host: str) -> None:
    """Every other address is refused, and the words say what to set."""
    with pytest.raises(Refused, match="CART_JWT_SECRET"):
        Settings(Path("store"), host=host)
    assert not is_loopback(host)
    assert Settings(Path("store"), host=host, trust=TRUST).host == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_loopback_has_several_names(host: str) -> None:
    """All of them are this machine."""
    assert Settings(Path("store"), host=host).open
