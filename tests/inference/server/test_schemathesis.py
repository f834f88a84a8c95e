"""schemathesis against the server's own OpenAPI document: requests of every shape, right and wrong."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from minillm.inference.server import Server
from tests.helpers import soak_count
from tests.inference.server.test_embeddings import encoder  # noqa: F401  (a fixture)
from tests.inference.server.tiny import all_free, tiny_engine

schemathesis = pytest.importorskip(
    "schemathesis", reason="needs the extra `fuzz`: pip install 'minillm[fuzz]'"
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
# not everything that the fields allow is taken: a prompt may be too long, a model's name another
LEFT_OUT = ["positive_data_acceptance"]


@pytest.fixture(scope="module")
def server(encoder):  # noqa: F811
    engine = tiny_engine(512, num_blocks=400)
    with Server(
        engine, port=0, model_name="tiny", encoder=encoder, encoder_name="mini", max_tokens=20
    ) as server:
        yield server
        assert all_free(server, engine)
        assert server.loop.failed_steps == 0


POSTS = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"]


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/v1/models/{model}", "positive"),
        *((path, mode) for path in POSTS for mode in ("positive", "negative")),
    ],
)
def test_every_answer_is_as_the_document_says(server, path, mode):
    """No 5xx, statuses, kinds and shapes as written, and what the fields forbid is refused."""
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    left_out = schemathesis.checks.CHECKS.get_by_names(LEFT_OUT)
    operation = document[path]["get" if "{" in path else "post"]
    statuses = []

    @settings(
        max_examples=soak_count(400), deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(
        case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)), data=strategies.data()
    )
    def ask(case, data):
        if mode == "positive" and isinstance(
            case.body, dict
        ):  # with dozens of fields at once one is always too much
            optional = sorted(case.body.keys() - {"model", "messages", "prompt", "input"})
            kept = (
                data.draw(strategies.sets(strategies.sampled_from(optional), max_size=3)) if optional else ()
            )
            case.body = {name: one for name, one in case.body.items() if name in kept or name not in optional}
        response = case.call(timeout=60)
        statuses.append(response.status_code)
        case.validate_response(response, excluded_checks=left_out)

    ask()
    assert max(statuses) < 500
    assert min(statuses) == (400 if mode == "negative" else 200), statuses  # it got that far
