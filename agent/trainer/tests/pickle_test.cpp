// Pickles by hand: what is read, and what is refused.
#include <gtest/gtest.h>

#include "data_fixtures.h"
#include "pickle.h"

namespace tenfold {
namespace {

using namespace std::string_literals;
using testing::mentions;

Pickle read(const std::string& bytes) {
  return read_pickle(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

std::string refused(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const RefusedCall& error) {
    return error.callable();
  }
  return "";
}

std::string problem(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const PickleError& error) {
    return error.what();
  }
  return "";
}

TEST(Pickle, ReadsNumbersAndTexts) {
  const Pickle pickle = read("(NI01\nI-5\nL12L\nF1.5\nK\x07M\x01\x02J\xFF\xFF\xFF\xFF\x88\x8A\x01\xFE"
                             "G\x3F\xE0\x00\x00\x00\x00\x00\x00S'old'\nU\x02hiVuni\nX\x03\x00\x00\x00txtC\x01" "b" "l."s);
  const auto& items = pickle.root->as<PickleList>()->items;
  ASSERT_EQ(items.size(), 16U);
  EXPECT_NE(items[0]->as<PickleNone>(), nullptr);
  EXPECT_EQ(*items[1]->as<bool>(), true);
  EXPECT_EQ(*items[2]->as<int64_t>(), -5);
  EXPECT_EQ(*items[3]->as<int64_t>(), 12);
  EXPECT_EQ(*items[4]->as<double>(), 1.5);
  EXPECT_EQ(*items[5]->as<int64_t>(), 7);
  EXPECT_EQ(*items[6]->as<int64_t>(), 513);
  EXPECT_EQ(*items[7]->as<int64_t>(), -1);
  EXPECT_EQ(*items[8]->as<bool>(), true);
  EXPECT_EQ(*items[9]->as<int64_t>(), -2);
  EXPECT_EQ(*items[10]->as<double>(), 0.5);
  EXPECT_EQ(*items[11]->as<std::string>(), "old");
  EXPECT_EQ(*items[12]->as<std::string>(), "hi");
  EXPECT_EQ(*items[13]->as<std::string>(), "uni");
  EXPECT_EQ(*items[14]->as<std::string>(), "txt");
  EXPECT_EQ(items[15]->as<PickleBytes>()->bytes, "b");
}

TEST(Pickle, ReadsContainersAndWhatIsReferredTo) {
  // {'a': (1, 2), 'b': the same tuple}, with a memo entry.
  const Pickle pickle = read("\x80\x02}q\x00(X\x01\x00\x00\x00" "aK\x01K\x02\x86q\x01X\x01\x00\x00\x00" "bh\x01u."s);
  const PickleRef a = pickle.root->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->as<PickleTuple>()->items.size(), 2U);
  EXPECT_EQ(pickle.root->find("b"), a);
  EXPECT_EQ(pickle.root->find("c"), nullptr);
}

TEST(Pickle, AClassIsANameAndItsObjectARecord) {
  // models.yolo.Model.__new__(), with its state {'nc': 3}
  const Pickle pickle = read("\x80\x02" "cmodels.yolo\nModel\n)\x81}X\x02\x00\x00\x00ncK\x03sb."s);
  const auto* record = pickle.root->as<PickleRecord>();
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->type.full(), "models.yolo.Model");
  EXPECT_EQ(*record->state->find("nc")->as<int64_t>(), 3);
}

TEST(Pickle, KnowsTheCallsThatWeightsArePickledWith) {
  // torch._utils._rebuild_tensor_v2(storage, 2, (3, 4), (4, 1), False, OrderedDict())
  const Pickle pickle = read("\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"
                             "0U\x03" "cpuK\x10tQK\x02K\x03K\x04\x86K\x04K\x01\x86\x89" "ccollections\nOrderedDict\n)RtR."s);
  const auto* tensor = pickle.root->as<PickleTensor>();
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->offset, 2);
  EXPECT_EQ(tensor->sizes, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(tensor->strides, (std::vector<int64_t>{4, 1}));
  const auto* storage = tensor->storage->as<PickleStorage>();
  EXPECT_EQ(storage->type, "FloatStorage");
  EXPECT_EQ(storage->key, "0");
  EXPECT_EQ(storage->count, 16);
}

TEST(Pickle, RefusesEveryOtherCallByName) {
  EXPECT_EQ(refused("cos\nsystem\n(S'x'\ntR."), "os.system");
  EXPECT_EQ(refused("cbuiltins\nexec\n(S'x'\ntR."), "builtins.exec");
  EXPECT_EQ(refused("c__builtin__\neval\n(S'x'\ntR."), "__builtin__.eval");
  EXPECT_EQ(refused("cbuiltins\ngetattr\n(S'x'\nS'y'\ntR."), "builtins.getattr");
  EXPECT_EQ(refused("(S'x'\nios\nsystem\n."), "os.system");
  EXPECT_EQ(refused("(csubprocess\nPopen\nS'x'\no."), "subprocess.Popen");
  EXPECT_EQ(refused("\x80\x04\x8C\x05posix\x8C\x06system\x93\x8C\x01x\x85R."s), "posix.system");
  EXPECT_EQ(refused("ctorch.storage\n_load_from_bytes\n(S'x'\ntR."), "torch.storage._load_from_bytes");
  EXPECT_EQ(refused("ctorch\nload\n(S'x'\ntR."), "torch.load");
  EXPECT_EQ(refused("cmodels.yolo\nModel\n(tR."), "models.yolo.Model");
  EXPECT_EQ(refused("cfunctools\npartial\n(cos\nsystem\ntR."), "functools.partial");
  // In a value that nobody would look at.
  EXPECT_EQ(refused("(lp0\n}(S'a'\n(cnt\nsystem\n(S'x'\ntRtu0."), "nt.system");
  // A call of what another call would give, and of a record.
  EXPECT_EQ(refused("ccollections\nOrderedDict\n)R)R."), "something that is not a name");
  EXPECT_EQ(refused("\x80\x02" "cos\nsystem\n)\x81)R."s), "something that is not a name");
}

TEST(Pickle, DamagedOnesAreErrorsAndNothingElse) {
  for (const std::string& bytes :
       {""s, "."s, "K"s, "N"s, "R."s, "t."s, "(."s, "u."s, "0."s, "b."s, "h\x01."s, "g7\n."s, "Nb."s, "Na."s, "NNs."s,
        "(Nu."s, "\x93."s, "NN\x93."s, "NQ."s, "P1\n."s, "cos"s, "X\xFF\xFF\xFF\xFF" "abc."s, "T\x05\x00\x00\x00" "ab."s,
        "\x8B\xFF\xFF\xFF\x7F."s, "\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" "a."s, "\x80\x09N."s, "\x82\x01."s, "\x97."s,
        "I12x\n."s, "F\n."s, "S'abc\n."s, "(NNd"s, "(Nd."s, "N)\x81."s, "Zu."s})
    EXPECT_NE(problem(bytes), "") << bytes;
}

TEST(Pickle, EveryPrefixAndEveryByteOfASoundOneIsReadOrRefused) {
  const std::string sound =
      "\x80\x02}q\x00(X\x01\x00\x00\x00" "actorch._utils\n_rebuild_tensor_v2\nq\x01((U\x07storagectorch\nFloatStorage\n"
      "U\x01" "0U\x03" "cpuK\x10tQK\x02K\x03K\x04\x86K\x04K\x01\x86\x89" "ccollections\nOrderedDict\n)RtRq\x02u."s;
  ASSERT_EQ(problem(sound), "");
  for (size_t size = 0; size < sound.size(); ++size) EXPECT_NE(problem(sound.substr(0, size)), "") << size;
  for (size_t at = 0; at < sound.size(); ++at)
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = sound;
      changed[at] = static_cast<char>(byte);
      problem(changed);  // must end, by a value or a PickleError
    }
}

TEST(Pickle, BoundsWhatASmallFileMayGrowInto) {
  // A stack of five million references to one value.
  std::string deep = "Nq\x00"s;
  for (int i = 0; i < 5'000'000; ++i) deep += "h\0"s;
  EXPECT_TRUE(mentions(problem(deep + "."), "too deep"));
  EXPECT_TRUE(mentions(problem(std::string(size_t{3} << 20U, 'N') + "."), "more than"));
  // Lists within lists, half a million deep: read, and let go, without recursion.
  const std::string nested = std::string(500'000, ']') + std::string(499'999, 'a') + ".";
  EXPECT_EQ(problem(nested), "");
}

std::string repeated(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

TEST(Pickle, BoundsHowOftenWhatIsThereIsReferredTo) {
  // A tuple of half a million references to one value, as memo entry 1, and a class as entry 2.
  const std::string wide = "\x80\x02Nq\0("s + repeated("h\0"s, 500'000) + "tq\1"s;
  const std::string size = wide + "ctorch\nSize\nq\2"s, path = wide + "cpathlib\nPosixPath\nq\2"s;
  // Each copies the tuple's references.
  const std::string size_of_it = "h\2h\1\x85R"s, call_with_it = "h\2h\1R"s, object_of_it = "h\2h\1\x81"s;
  EXPECT_EQ(problem(size + size_of_it + "."), "");
  EXPECT_EQ(problem(path + call_with_it + object_of_it + "."), "");
  EXPECT_TRUE(mentions(problem(size + repeated(size_of_it, 10) + "."), "references"));
  EXPECT_TRUE(mentions(problem(path + repeated(call_with_it, 10) + "."), "references"));
  EXPECT_TRUE(mentions(problem(path + repeated(object_of_it, 10) + "."), "references"));
  // What is taken off the stack is kept all the same.
  EXPECT_TRUE(mentions(problem(size + repeated(size_of_it + "0", 10) + "N."), "references"));
  // A list of itself five million times, and a dict.
  EXPECT_TRUE(mentions(problem("]" + repeated("2a", 5'000'000) + "."), "references"));
  EXPECT_TRUE(mentions(problem("Nq\0}"s + repeated("h\0h\0s"s, 2'500'000) + "."), "references"));
}

TEST(Pickle, BoundsWhatIsRememberedAndMarked) {
  EXPECT_EQ(problem("N" + repeated("\x94", 100'000) + "."), "");
  EXPECT_TRUE(mentions(problem("N" + repeated("\x94", 1'500'000) + "."), "remembered"));
  EXPECT_EQ(problem(repeated("(", 100'000) + repeated("1", 100'000) + "N."), "");
  EXPECT_TRUE(mentions(problem(repeated("(", 1'500'000) + "."), "marks"));
}

TEST(Pickle, BoundsTheCopiesOfTexts) {
  // bytes of a text of 4 MiB, made from it again and again.
  const std::string text = "c_codecs\nencode\nq\0X\0\0\x40\0"s + std::string(size_t{4} << 20U, 'x') + "q\1"s;
  const std::string bytes_of_it = "h\0h\1\x85R"s;
  EXPECT_EQ(problem(text + bytes_of_it + "."), "");
  EXPECT_TRUE(mentions(problem(text + repeated(bytes_of_it, 40) + "."), "bytes of text"));
  // The name of a class is part of every object of it.
  EXPECT_TRUE(mentions(problem("c" + std::string(5'000, 'm') + "\nA\n."), "name of a class"));
}

}  // namespace
}  // namespace tenfold
