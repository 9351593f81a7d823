import json
from typing import Any

import numpy as np
from PIL.Image import Image

from tests.evaluation.perceptual.cases import case, noise
from viral.evaluation.perceptual.vlm import SUCCESS, Rater, Verdict, VIERating
from viral.sampling.judge_endpoint import Endpoint

LIGHT, DARK = np.full((56, 56, 3), 255, np.uint8), np.full((56, 56, 3), 51, np.uint8)


def test_the_verdict_is_the_share_of_edits_that_the_model_says_succeeded(chat_server: Any) -> None:
    def reply(words: str, images: list[Image]) -> str:
        assert len(images) == 2 and "Paint the car red." in words
        return json.dumps({"reason": "light", "success": bool(np.asarray(images[1]).mean() > 128)})

    chat_server.reply = reply
    measure = Verdict(Endpoint(chat_server.url, "some-vlm").answer)
    rows = measure([case(1), case(2), case(3)], [LIGHT, DARK, LIGHT])
    assert rows[:, 0].tolist() == [1, 0, 1]


def test_a_reply_that_cannot_be_read_is_no_verdict(chat_server: Any) -> None:
    answer = Endpoint(chat_server.url, "some-vlm").answer
    for reply in ("It looks fine.", '{"success": "maybe"}'):
        chat_server.reply = lambda words, images, reply=reply: reply
        assert np.isnan(Verdict(answer)([case(1)], [LIGHT])).all()
        assert np.isnan(VIERating(Rater(answer), "overall")([case(1)], [LIGHT])).all()


def test_three_columns_of_a_vie_score_cost_one_rating(chat_server: Any) -> None:
    chat_server.reply = lambda words, images: json.dumps({"score": [9, 4] if len(images) == 2 else [9, 9]})
    rater = Rater(Endpoint(chat_server.url, "some-vlm").answer)
    scores = [VIERating(rater, part)([case(1)], [noise(5)])[0, 0] for part in ("sc", "pq", "overall")]
    assert scores == [4, 9, 6] and len(chat_server.requests) == 2


def test_wording_changes_only_with_its_id() -> None:
    assert SUCCESS.name == "edit-success-1@2e8438771689"
