"""The device's end of the link for boards that run Linux: plans and samples in, predictions and states out.

It takes plans and data, and nothing that would be executed: no ONNX, no pickle, no Python comes from the line.
"""
