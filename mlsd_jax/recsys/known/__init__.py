"""What is known at a cut, from earlier purchases only: counts, ages, affinities, co-visitation, promotions."""
