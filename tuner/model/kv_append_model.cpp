// kv_append has no model, because nothing of it is tuned.
#include "cache/error.h"
#include "tuner/model/family_model.h"

namespace flashtune {

double family_us(const KvAppendConfig&, const Problem&, const KernelFacts&, int, const ReferenceDevice&) {
  throw Error(ErrorKind::kInternal, "append is not tuned, and so not modelled");
}

}  // namespace flashtune
