"""Human mesh recovery: the fitter now; the network (ray encoder, HumanMoE, heads) lives here too."""
