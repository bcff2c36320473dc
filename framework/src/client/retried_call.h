/* client/retried_call.h: a call of the seam that may be made more than once: by a service config's policy, or because
 * its server has surely not seen it.
 */
#ifndef WEFT_CLIENT_RETRIED_CALL_H
#define WEFT_CLIENT_RETRIED_CALL_H

#include "client/policy.h"
#include "transport/transport.h"

/* Messages of a stream that are kept to be sent again. What would need more is not retried any more. */
#define WEFT__RETRY_MAX_BYTES 262144

/**
 * @param below  where attempts are made.
 * @param policy asks for retries or hedging of the method, as `config` says; the reference is the call's once this
 *               returns 0. NULL: `config` does not matter, and only what was not seen is made again.
 * @return 0; -ENOMEM.
 */
int weft__retried_call_new(weft_engine *engine, weft__tchannel *below, const weft__method_config *config,
                           weft__policy *policy, weft__ccall **out);

#endif
