"""Calls as a function mode sees them: which operation, which operands, which module."""
