package ref

import "maps"

// Operators is what the table knows, for tests from outside of the package.
var Operators = maps.Keys(table)
