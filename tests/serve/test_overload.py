"""More requests at once than one editor and its queue take."""

from concurrent.futures import ThreadPoolExecutor


def test_overload_is_answered_at_once_and_loses_no_accepted_request(server, parts):
    files = {name: (name, data) for name, data in parts.items()}

    def ask(seed: int):
        return server.post("/v1/analogies", files=files, data={"seed": str(seed), "steps": "20"})

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(40)))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert sum(answer.status_code == 200 for answer in answers) >= 16
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["error"]["type"] == "rate_limit_error"
            assert int(answer.headers["retry-after"]) > 0
    assert ask(0).status_code == 200
