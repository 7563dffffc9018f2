// relevit_products stores the inner products of m vectors with count others, all
// of one width and one behind the other, as out (m,count).
void relevit_products(const float *others, int count, const float *vectors, int m, int width, float *out);
