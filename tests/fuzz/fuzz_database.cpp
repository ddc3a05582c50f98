// Database files of any bytes: opened for reading, and read through by all that reads one.
#include <fstream>

#include "cache/database.h"
#include "cache/exchange.h"
#include "tests/fuzz/fuzz.h"

namespace flashtune {
namespace {

void check(std::string_view bytes) {
  const std::filesystem::path folder = fuzz::scratch_folder() / "database", path = folder / "tuning.db";
  std::filesystem::remove_all(folder);  // and what SQLite keeps beside the file
  std::filesystem::create_directory(folder);
  std::ofstream(path, std::ios::binary) << bytes;
  fuzz::accepts([&] {
    const Database db = Database::open(path, Database::Mode::kReadOnly);
    fuzz::accepts([&] { db.info(); });
    fuzz::accepts([&] {
      for (const Damage& damage : db.check()) fuzz::require_own_words(damage.why);
    });
    fuzz::accepts([&] {
      for (const Trial& trial : db.trials()) {
        db.find(trial.key);
        db.trials_of(trial.key.device, trial.key.problem);
      }
    });
    fuzz::accepts([&] { db.bests(); });
    std::string text;
    static Database taken = Database::in_memory();
    if (fuzz::accepts([&] { text = export_json(db); }))
      fuzz::undone(taken, [&] {
        fuzz::require(fuzz::accepts([&] { import_json(taken, text); }), "an export that import does not take");
      });
    fuzz::undone(taken, [&] {
      if (fuzz::accepts([&] { merge(taken, db); }))
        fuzz::require(taken.check().empty(), "a merge made a database that is not sound");
    });
  });
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  flashtune::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
