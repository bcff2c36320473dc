/* client/json_read.h: the reader is in base now, for discovery too. */
#ifndef WEFT_CLIENT_JSON_READ_H
#define WEFT_CLIENT_JSON_READ_H

#include "base/json_read.h"

#endif
