"""What the dashboard and the alerts ask about serving is given by the served application."""

import httpx

from tests.platform.expressions import expressions, gather, metrics, nodes


def test_every_expression_about_serving_is_given_while_something_is_served(server: httpx.Client) -> None:
    assert server.get("/v1/nothing").status_code == 404  # errors are counted from the first one on
    asked = [one for one in expressions() if any(name.startswith("ray_serve_") for name in metrics(one))]
    assert asked
    assert gather(asked, nodes()) == []
