"""From a trained model to a picture: the denoise loop and the editor that evaluation and serving share."""
