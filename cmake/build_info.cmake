# What `mdfront version` tells of the build: the commit, and the libraries that leave no trace at run time.
set(MDFRONT_COMMIT "")
find_package(Git QUIET)
if(Git_FOUND AND EXISTS ${CMAKE_SOURCE_DIR}/.git)
    execute_process(COMMAND ${GIT_EXECUTABLE} -c safe.directory=* rev-parse --short=12 HEAD
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE MDFRONT_COMMIT
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    execute_process(COMMAND ${GIT_EXECUTABLE} -c safe.directory=* rev-parse --git-path logs/HEAD
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE history
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    get_filename_component(history "${history}" ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
    if(EXISTS ${history})
        # Each commit adds a line.
        set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${history})
    endif()
endif()
if(NOT MDFRONT_COMMIT AND EXISTS ${CMAKE_SOURCE_DIR}/.commit)
    # A copy of a tree: whoever makes it writes the commit down.
    file(STRINGS ${CMAKE_SOURCE_DIR}/.commit MDFRONT_COMMIT LIMIT_COUNT 1)
endif()
set(MDFRONT_BUILT_WITH "liburing ${liburing_VERSION}, llhttp ${LLHTTP_VERSION}, fmt ${fmt_VERSION}, "
    "toml++ ${tomlplusplus_VERSION}, nlohmann-json ${nlohmann_json_VERSION}, CLI11 ${CLI11_VERSION}")
list(JOIN MDFRONT_BUILT_WITH "" MDFRONT_BUILT_WITH)
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_info.cc.in ${CMAKE_BINARY_DIR}/build_info.cc @ONLY)
target_sources(app PRIVATE ${CMAKE_BINARY_DIR}/build_info.cc)
