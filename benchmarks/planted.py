"""Made-up secrets of every format that redaction claims, and texts to plant them in; all drawn at random when they are needed.

They are written down from what the issuers say of their tokens, and not from the rules: what a rule has wrong is missed here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import attrs

LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
DIGITS: Final = "0123456789"
UPPER: Final = LOWER.upper()
ALNUM: Final = LOWER + UPPER + DIGITS
HEX: Final = "0123456789abcdef"
URLSAFE: Final = ALNUM + "-_"
BASE64: Final = ALNUM + "+/"
BASE32: Final = UPPER + "234567"


@attrs.frozen
class Planted:
    """A secret in its surroundings.

    Attributes:
        kind: What its mark must say.
        text: All of it.
        secret: What must be gone, and be gone in pieces of eight characters, too.
        place: Where it is planted.
    """

    kind: str
    text: str
    secret: str
    place: str


def drawn(random: Random, alphabet: str, count: int) -> str:
    """Characters drawn at random, with a digit, a small letter and a capital among the first ones if the alphabet has any."""
    first = [random.choice(part) for part in (DIGITS, LOWER, UPPER, DIGITS) if set(part) <= set(alphabet)][:count]
    # a token seldom begins or ends with a sign
    inner = [random.choice(alphabet) for _ in range(max(0, count - len(first) - 1))]
    last = [random.choice([letter for letter in alphabet if letter.isalnum()])] if count > len(first) else []
    return "".join(first + inner + last)


def _of(prefix: str, alphabet: str, count: int, end: str = "") -> Callable[[Random], str]:
    # the parts of a prefix are joined here, so that nothing in this file looks like a token
    start = prefix.replace("|", "")
    return lambda random: start + drawn(random, alphabet, count) + end


def _jwt(random: Random) -> str:
    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    claims = {"sub": drawn(random, DIGITS, 10), "name": drawn(random, LOWER, 8), "iat": random.randrange(10**9, 2 * 10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{drawn(random, URLSAFE, 43)}"


def _block(random: Random, kind: str, lines: int = 12, headers: str = "") -> str:
    body = "\n".join(drawn(random, BASE64, 64) for _ in range(lines))
    name = f"{kind}PRIVATE {'KEY'}"
    end = " BLOCK" if kind.startswith("PGP") else ""
    return f"-----BEGIN {name}{end}-----\n{headers}{body}\n{drawn(random, BASE64, 30)}==\n-----END {name}{end}-----"


TOKENS: Final[dict[str, tuple[Callable[[Random], str], ...]]] = {
    "anthropic-key": (_of("sk|-ant-api03-", URLSAFE, 93, "AA"), _of("sk|-ant-oat01-", URLSAFE, 86), _of("sk|-ant-admin01-", URLSAFE, 86)),
    "openai-key": (_of("sk|-proj-", URLSAFE, 156), _of("sk|-svcacct-", URLSAFE, 120), _of("sk|-admin-", URLSAFE, 120)),
    "openrouter-key": (_of("sk|-or-v1-", HEX, 64),),
    "model-api-key": (_of("sk|-", ALNUM, 48), _of("sk|-", HEX, 32)),
    "groq-key": (_of("gsk|_", ALNUM, 52),),
    "xai-key": (_of("xai|-", ALNUM, 80),),
    "huggingface-token": (_of("hf|_", LOWER + UPPER, 34),),
    "replicate-token": (_of("r8|_", ALNUM, 37),),
    "perplexity-key": (_of("pplx|-", ALNUM, 48),),
    "nvidia-key": (_of("nvapi|-", URLSAFE, 64),),
    "cerebras-key": (_of("csk|-", LOWER + DIGITS, 48),),
    "langsmith-key": (lambda random: f"{'lsv2'}_pt_{drawn(random, HEX, 32)}_{drawn(random, HEX, 10)}",),
    "pinecone-key": (_of("pcsk|_", ALNUM, 70),),
    "tavily-key": (_of("tvly|-", ALNUM, 32),),
    "elevenlabs-key": (_of("sk|_", HEX, 48),),
    "github-token": (_of("ghp|_", ALNUM, 36), _of("gho|_", ALNUM, 36), _of("ghs|_", ALNUM, 36), _of("github|_pat_", ALNUM, 82)),
    "gitlab-token": (_of("glpat|-", URLSAFE, 20), _of("gldt|-", URLSAFE, 20), _of("glptt|-", HEX, 40), _of("glrt|-", URLSAFE, 20)),
    "bitbucket-token": (_of("ATBB|", ALNUM, 32),),
    "atlassian-token": (_of("ATATT3|xFfGF0", URLSAFE, 172),),
    "sourcegraph-token": (_of("sgp|_", HEX, 40),),
    "aws-access-key": (_of("AK|IA", BASE32, 16), _of("AS|IA", BASE32, 16)),
    "google-api-key": (_of("AI|za", URLSAFE, 35),),
    "google-oauth-token": (_of("ya29|.", URLSAFE, 120), _of("1/|/0", URLSAFE, 60)),
    "google-client-secret": (_of("GOC|SPX-", URLSAFE, 28),),
    "azure-client-secret": (lambda random: f"{drawn(random, ALNUM, 3)}8{'Q~'}{drawn(random, ALNUM + '~.-_', 34)}",),
    "digitalocean-token": (_of("dop|_v1_", HEX, 64), _of("doo|_v1_", HEX, 64)),
    "heroku-key": (_of("HRKU|-AA", URLSAFE, 58),),
    "alibaba-access-key": (_of("LT|AI", ALNUM, 20),),
    "fly-token": (_of("fm2|_", BASE64, 160), _of("fo1|_", URLSAFE, 43)),
    "netlify-token": (_of("nfp|_", ALNUM, 36),),
    "pulumi-token": (_of("pul|-", HEX, 40),),
    "terraform-token": (lambda random: f"{drawn(random, ALNUM, 14)}.{'atlas'}v1.{drawn(random, URLSAFE, 67)}",),
    "vault-token": (_of("hvs|.", URLSAFE, 95), _of("hvb|.", URLSAFE, 140)),
    "doppler-token": (_of("dp|.pt.", ALNUM, 43), _of("dp|.st.prd.", ALNUM, 43)),
    "scaleway-key": (_of("SC|W", UPPER + DIGITS, 17),),
    "tailscale-key": (lambda random: f"{'tskey'}-auth-{drawn(random, ALNUM, 12)}CNTRL-{drawn(random, ALNUM, 32)}",),
    "slack-token": (
        lambda random: f"{'xoxb'}-{drawn(random, DIGITS, 12)}-{drawn(random, DIGITS, 13)}-{drawn(random, ALNUM, 24)}",
        lambda random: f"{'xapp'}-1-A{drawn(random, UPPER + DIGITS, 10)}-{drawn(random, DIGITS, 13)}-{drawn(random, HEX, 64)}",
    ),
    "telegram-token": (lambda random: f"{random.randrange(10**8, 10**10)}:{'AA'}{drawn(random, URLSAFE, 33)}",),
    "matrix-token": (lambda random: f"{'syt'}_{drawn(random, ALNUM, 12)}_{drawn(random, LOWER + UPPER, 20)}_{drawn(random, ALNUM, 6)}",),
    "npm-token": (_of("npm|_", ALNUM, 36),),
    "pypi-token": (_of("pypi|-AgEIcHlwaS5vcmc", URLSAFE, 150),),
    "rubygems-key": (_of("rubygems|_", HEX, 48),),
    "docker-token": (_of("dckr|_pat_", URLSAFE, 27),),
    "nuget-key": (_of("oy|2", LOWER + DIGITS, 43),),
    "artifactory-key": (_of("AKC|p", ALNUM, 69),),
    "stripe-key": (_of("sk|_live_", ALNUM, 24), _of("rk|_test_", ALNUM, 99)),
    "stripe-webhook-secret": (_of("whsec|_", ALNUM, 32),),
    "square-token": (_of("sq0|atp-", URLSAFE, 22), _of("sq0|csp-", URLSAFE, 43)),
    "shopify-token": (_of("shp|at_", HEX, 32),),
    "sentry-token": (_of("sntryu|_", HEX, 64),),
    "grafana-token": (lambda random: f"{'glsa'}_{drawn(random, ALNUM, 32)}_{drawn(random, HEX, 8)}", _of("glc|_", BASE64, 120)),
    "newrelic-key": (_of("NR|AK-", UPPER + DIGITS, 27),),
    "dynatrace-token": (lambda random: f"{'dt0c01'}.{drawn(random, UPPER + DIGITS, 24)}.{drawn(random, UPPER + DIGITS, 64)}",),
    "posthog-key": (_of("phx|_", ALNUM, 43),),
    "sendgrid-key": (lambda random: f"{'SG'}.{drawn(random, URLSAFE, 22)}.{drawn(random, URLSAFE, 43)}",),
    "mailgun-key": (_of("key|-", HEX, 32),),
    "mailchimp-key": (lambda random: f"{drawn(random, HEX, 32)}{'-us'}{random.randrange(1, 22)}",),
    "linear-key": (_of("lin|_api_", ALNUM, 40),),
    "notion-token": (_of("ntn|_", ALNUM, 46), _of("secret|_", ALNUM, 43)),
    "figma-token": (_of("figd|_", URLSAFE, 40),),
    "databricks-token": (_of("da|pi", HEX, 32),),
    "planetscale-token": (_of("pscale|_tkn_", URLSAFE, 43),),
    "supabase-key": (_of("sbp|_", HEX, 40),),
    "postman-key": (lambda random: f"{'PMAK'}-{drawn(random, HEX, 24)}-{drawn(random, HEX, 34)}",),
    "hubspot-token": (lambda random: f"{'pat'}-na1-{_uuid(random)}",),
    "contentful-token": (_of("CF|PAT-", URLSAFE, 43),),
    "buildkite-token": (_of("bkua|_", HEX, 40),),
    "sonarqube-token": (_of("squ|_", HEX, 40),),
    "age-secret-key": (_of("AGE-SECRET|-KEY-1", UPPER + DIGITS, 58),),
    "jwt": (_jwt,),
    "private-key": (
        lambda random: _block(random, ""),
        lambda random: _block(random, "RSA "),
        lambda random: _block(random, "EC ", 3),
        lambda random: _block(random, "OPENSSH ", 8),
        lambda random: _block(random, "ENCRYPTED "),
        lambda random: _block(
            random, "RSA ", headers=f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{drawn(random, HEX, 32).upper()}\n\n"
        ),
        lambda random: _block(random, "PGP ", headers="Version: GnuPG v2\n\n"),
    ),
}
"""By kind: formats that are told by their look alone."""


def _uuid(random: Random) -> str:
    return "-".join(drawn(random, HEX, count) for count in (8, 4, 4, 4, 12))


PLACES: Final[dict[str, Callable[[str], str]]] = {
    "alone": lambda secret: secret,
    "in a sentence": lambda secret: f"I have put {secret} into the configuration, please do not commit it.",
    "in a variable": lambda secret: f"export SERVICE={secret}\nmake deploy",
    "in JSON": lambda secret: json.dumps({"id": 7, "value": secret, "next": None}),
    "in JSON in JSON": lambda secret: json.dumps({"content": json.dumps({"output": f"line 1\n{secret}\nline 3"})}),
    "in YAML": lambda secret: f"service:\n  name: deploy\n  with: {json.dumps(secret)}\n",
    "in Python": lambda secret: f"client = Client({secret!r}, timeout=30)",
    "in a command": lambda secret: f"$ deploy --with '{secret}' --force",
    "in a log": lambda secret: f'2026-01-02 03:04:05,678 INFO client.py:17 sent {{"with":"{secret}"}} in 12 ms',
    "in Markdown": lambda secret: f"| name | value |\n|---|---|\n| deploy | `{secret}` |\n",
}
"""Where they stand."""


def _password(random: Random) -> str:
    return drawn(random, LOWER, random.randrange(4, 9)) + drawn(random, DIGITS, 2) + random.choice("!-_+.%^~") + drawn(random, ALNUM, 3)


Around = tuple[str, Callable[[Random], str], str]
_RANDOM: Final = lambda random: drawn(random, ALNUM, random.choice((20, 32, 40, 64)))  # noqa: E731
_HEX: Final = lambda random: drawn(random, HEX, random.choice((32, 40, 64)))  # noqa: E731
_BASIC: Final = lambda random: base64.b64encode(f"{drawn(random, LOWER, 6)}:{_password(random)}".encode()).decode()  # noqa: E731
SURROUNDED: Final[tuple[Around, ...]] = (
    ("url-password", lambda random: drawn(random, ALNUM, 12), "postgres://app:{}@db.internal:5432/main"),
    ("url-password", lambda random: drawn(random, ALNUM, 12), "DATABASE=mysql://root:{}@127.0.0.1/x?ssl=1"),
    ("url-password", lambda random: drawn(random, HEX, 32), '"redis://:{}@cache:6379/0"'),
    ("url-password", lambda random: drawn(random, ALNUM, 20), "git clone https://oauth2:{}@git.internal/team/app.git"),
    ("url-password", lambda random: drawn(random, ALNUM, 16), "amqp://guest-user:{}@mq/%2f"),
    ("authorization", _RANDOM, "Authorization: Bearer {}"),
    ("authorization", _RANDOM, "curl -H 'Authorization: Bearer {}' https://api.internal/v1"),
    ("authorization", _BASIC, "Authorization: Basic {}"),
    ("authorization", _RANDOM, '{{"headers": {{"authorization": "bearer {}"}}}}'),
    ("header", _RANDOM, "X-Api-Key: {}"),
    ("header", _HEX, '{{"x-api-key": "{}", "accept": "*/*"}}'),
    ("header", _RANDOM, "PRIVATE-TOKEN: {}\r\nAccept: */*"),
    ("cookie", _HEX, "Cookie: session={}; theme=dark"),
    ("cookie", _RANDOM, "< Set-Cookie: sid={}; Path=/; HttpOnly"),
    ("query", _HEX, "GET /v1/items?page=2&access_token={} HTTP/1.1"),
    ("query", _RANDOM, "https://api.internal/v1?api_key={}&format=json"),
    ("query", _RANDOM, "https://store.blob.internal/a?sv=2024-11-04&sig={}"),
    ("slack-webhook", lambda random: f"T{drawn(random, UPPER + DIGITS, 9)}/B{drawn(random, UPPER + DIGITS, 9)}/{drawn(random, ALNUM, 24)}",
     "https://hooks.slack.com/" + "services/{}"),
    ("discord-webhook", lambda random: f"{random.randrange(10**17, 10**18)}/{drawn(random, URLSAFE, 68)}",
     "https://discord.com" + "/api/webhooks/{}"),
    ("azure-account-key", lambda random: drawn(random, BASE64, 86) + "==",
     "DefaultEndpointsProtocol=https;AccountName=n;AccountKey={};EndpointSuffix=x"),
    ("connection-password", _password, "Server=db;User Id=app;Password={};Encrypt=true"),
    ("netrc-password", _password, "machine git.internal login ada password {}"),
    ("basic-auth", _password, "curl -u ada:{} https://git.internal/"),
    ("password-hash", lambda random: f"$2b$12${drawn(random, ALNUM + './', 53)}", "ada:{}"),
    ("password-hash", lambda random: f"$6${drawn(random, ALNUM, 16)}${drawn(random, ALNUM + './', 86)}", "ada:{}:19700:0:99999:7:::"),
    ("aws-secret-key", lambda random: drawn(random, BASE64, 40), "aws_secret_access_key = {}"),
    ("aws-secret-key", lambda random: drawn(random, BASE64, 40), '"SecretAccessKey": "{}",'),
    ("aws-secret-key", lambda random: drawn(random, BASE64, 40), "export AWS_SECRET_ACCESS_KEY={}"),
    ("environment-secret", _password, "DB_PASSWORD={}"),
    ("environment-secret", _password, "export SMTP_PASSWORD='{}'"),
    ("environment-secret", _RANDOM, "HOST=db\nSERVICE_API_KEY={}\nPORT=1"),
    ("environment-secret", _HEX, 'SECRET_KEY="{}"'),
    ("environment-secret", _RANDOM, "docker run -e JENKINS_TOKEN={} image"),
    ("environment-secret", lambda random: drawn(random, LOWER, 9), "POSTGRES_PASSWORD={}"),
    ("argument", _password, "mysqldump --password={} main"),
    ("argument", _RANDOM, "deploy --token {} --force"),
    ("argument", _RANDOM, "deploy --api-key '{}'"),
    ("secret", _password, '{{"user": "ada", "password": "{}"}}'),
    ("secret", _password, "password: {}"),
    ("secret", _password, "spring.datasource.password={}"),
    ("secret", _password, "db_password = '{}'"),
    ("secret", _password, "<password>{}</password>"),
    ("secret", _HEX, 'client_secret: "{}"'),
    ("secret", _RANDOM, 'const apiKey = "{}";'),
    ("secret", _RANDOM, "api_key={}"),
    ("secret", _HEX, "refresh_token => '{}'"),
    ("secret", _RANDOM, "The API key is {}"),
    ("secret", _RANDOM, "//registry.internal/:_authToken={}"),
)  # fmt: skip
"""Kind, what the secret is, and what it is told by."""


def planted(random: Random, rounds: int = 1) -> Iterator[Planted]:
    """Every format, each token in each place."""
    for _ in range(rounds):
        for kind, formats in TOKENS.items():
            for make in formats:
                for place, put in PLACES.items():
                    secret = make(random)
                    yield Planted(kind, put(secret), secret, place)
        for kind, make, around in SURROUNDED:
            secret = make(random)
            text = around.format(secret)
            yield Planted(kind, text, secret, "alone")
            yield Planted(kind, json.dumps({"content": f"first\n{text}\nlast"}), secret, "in JSON")


def is_gone(secret: str, redacted: str, piece: int = 8) -> bool:
    """Whether nothing of a secret is left, in pieces of so many characters."""
    body = "".join(line for line in secret.splitlines() if not line.startswith("-----"))
    redacted = re.sub(r"\[redacted: [a-z0-9-]+\]", "[]", redacted)
    return not any(body[at : at + piece] in redacted for at in range(max(1, len(body) - piece + 1)))


HARMLESS: Final[tuple[Callable[[Random], str], ...]] = (
    lambda random: f"commit {drawn(random, HEX, 40)}",
    lambda random: f"index {drawn(random, HEX, 7)}..{drawn(random, HEX, 7)} 100644",
    lambda random: f'"integrity": "sha512-{drawn(random, BASE64, 86)}=="',
    lambda random: f"id: {_uuid(random)}",
    lambda random: f"sha256:{drawn(random, HEX, 64)}",
    lambda random: f"src=data:image/png;base64,{drawn(random, BASE64, 200)}",
    lambda random: f"token = tokens[{random.randrange(100)}]",
    lambda random: "password = getpass.getpass()",
    lambda random: "def connect(user: str, password: str | None = None, *, token: str = '') -> None:",
    lambda random: 'os.environ["API_KEY"]',
    lambda random: "API_KEY=your-api-key-here",
    lambda random: "export TOKEN=$(cat /run/secrets/token)",
    lambda random: "DB_PASSWORD=${DB_PASSWORD:?missing}",
    lambda random: f"MAX_OUTPUT_TOKENS={random.randrange(1000, 64000)}",
    lambda random: f'"usage": {{"input_tokens": {random.randrange(10**5)}, "cache_read_tokens": 0}}',
    lambda random: '{"type": "object", "properties": {"password": {"type": "string"}, "token": {"type": "string"}}}',
    lambda random: "Basic authentication and bearer tokens are described in the section on authentication.",
    lambda random: "if token.type is TokenType.IDENTIFIER and self.secret_key is not None:",
    lambda random: 'placeholder="Enter your password"',
    lambda random: "https://user:password@example.com/",
    lambda random: "https://example.org:8080/path?key=value&code=main",
    lambda random: "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
    lambda random: 'if text.startswith("-----BEGIN RSA PRIVATE KEY-----"):',
    lambda random: "class=sk-folding-cube sk-loading-indicator-wrapper",
    lambda random: "git push -u origin feature/token-refresh",
    lambda random: "docker run -u 1000:1000 image",
    lambda random: "primary_key=True, foreign_key='users.id2', cache_key=f'{user}:{page}'",
    lambda random: f"2026-01-02T03:04:05.{drawn(random, DIGITS, 6)}Z token bucket: {random.randrange(100)} left",
    lambda random: "password_hash = hashlib.sha256(password.encode()).hexdigest()",
    lambda random: "- `--token TOKEN`: the token; `--password-file FILE` reads it from a file",
)
"""What only resembles a secret, and must come out as it went in."""
