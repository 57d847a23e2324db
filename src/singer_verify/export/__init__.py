"""Export of trained models: ONNX, and the checkpoint format of the seed projects."""
