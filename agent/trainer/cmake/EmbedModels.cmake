# Writes the yamls of FOLDER into a source file that defines tenfold::embedded_models(), so that the binary needs no files
# beside it. The configuration runs again when a yaml changes.
function(tenfold_embed_models FOLDER OUTPUT)
  file(GLOB yamls CONFIGURE_DEPENDS "${FOLDER}/*.yaml")
  set(entries "")
  foreach(yaml ${yamls})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${yaml}")
    get_filename_component(stem "${yaml}" NAME_WE)
    file(READ "${yaml}" text)
    string(APPEND entries "      {\"${stem}\", R\"yaml(${text})yaml\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT
"// Made from models/*.yaml by cmake/EmbedModels.cmake.
#include \"model_catalog.h\"

namespace tenfold {

const std::vector<EmbeddedModel>& embedded_models() {
  static const std::vector<EmbeddedModel> models = {
@entries@  };
  return models;
}

}  // namespace tenfold
")
endfunction()
