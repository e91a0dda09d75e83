"""Attention: which tokens exchange information, and maps made of attention weights."""
