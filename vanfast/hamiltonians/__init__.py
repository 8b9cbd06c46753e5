"""hamiltonians"""
