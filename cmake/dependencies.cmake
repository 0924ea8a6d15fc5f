# Libraries of the distribution, through pkg-config where they ship a file for it.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# PkgConfig::PREFIX is the module of that name; POOL_MODULE_PREFIX is remembered for libpool.pc.
macro(pool_module prefix module)
  pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET ${module})
  set(POOL_MODULE_${prefix} ${module})
endmacro()
pool_module(URING liburing)
pool_module(BLKID blkid)
pool_module(UDEV libudev)
pool_module(ZSTD libzstd)
pool_module(JSONC json-c)
pool_module(SMARTCOLS smartcols)
find_library(ISAL_LIBRARY isal REQUIRED)
find_library(BOOST_CONTEXT_LIBRARY boost_context REQUIRED)
if(POOL_TESTS)
  pool_module(CMOCKA cmocka)
endif()

# What each layer links beside the layers it needs.
set(POOL_LINK_checksum ${ISAL_LIBRARY})
set(POOL_LINK_raid ${ISAL_LIBRARY})
set(POOL_LINK_base Threads::Threads)
set(POOL_LINK_rt ${BOOST_CONTEXT_LIBRARY} Threads::Threads)
set(POOL_LINK_disk PkgConfig::URING PkgConfig::BLKID PkgConfig::UDEV)
set(POOL_LINK_block PkgConfig::ZSTD)
set(POOL_LINK_control PkgConfig::JSONC)
