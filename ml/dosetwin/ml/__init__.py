"""Models that learn from fleets (torch, exported to ONNX). Its place is kept; nothing is here yet."""
