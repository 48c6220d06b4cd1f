"""Frames in, frames out: every figure has its one definition here. Nothing reads a clock, a disk or a store."""
