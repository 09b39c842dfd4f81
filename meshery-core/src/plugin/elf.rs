//! What can be known of a library from its bytes alone, without running any of them.
//!
//! A file that is cut off ends the process that loads it with SIGBUS, and the system's loader says "No such file or
//! directory" of a library for another processor. So this looks first, and every look is within bounds.

use object::elf::{self, DataEncoding, FileClass, FileHeader64, Machine};
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};

use super::fault::LoadFault;

const MANIFEST_SECTION: &[u8] = b".meshmanifest";
const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// The manifest's bytes of a library that this machine could load.
pub(super) fn manifest(data: &[u8]) -> Result<&[u8], LoadFault> {
    if data.is_empty() {
        return Err(LoadFault::Empty);
    }
    if !data.starts_with(&elf::ELFMAG) {
        return Err(LoadFault::NotElf);
    }
    fits_this_machine(data)?;
    let header = FileHeader64::<Endianness>::parse(data).map_err(|_| cut_off("its header"))?;
    let endian = header.endian().map_err(|_| LoadFault::NotElf)?;
    let segments = header
        .program_headers(endian, data)
        .map_err(|_| cut_off("the table of segments lies outside of it"))?;
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        if offset.checked_add(size).is_none_or(|end| end > data.len() as u64) {
            return Err(cut_off(format!(
                "a segment of {size} bytes at {offset} lies outside of it"
            )));
        }
    }
    if header.e_type.get(endian) != elf::ET_DYN {
        return Err(LoadFault::NotSharedLibrary {
            found: match header.e_type.get(endian) {
                elf::ET_EXEC => "a program".into(),
                elf::ET_REL => "an object file".into(),
                elf::ET_CORE => "a core dump".into(),
                other => format!("an ELF file of type {}", other.0),
            },
        });
    }
    let sections = header
        .sections(endian, data)
        .map_err(|_| cut_off("the table of sections lies outside of it"))?;
    let Some((_, section)) = sections.section_by_name(endian, MANIFEST_SECTION) else {
        // A position independent program has the type of a library.
        return Err(if segments.iter().any(|s| s.p_type(endian) == elf::PT_INTERP) {
            LoadFault::NotSharedLibrary {
                found: "a program".into(),
            }
        } else {
            LoadFault::NoManifest
        });
    };
    let manifest = section
        .data(endian, data)
        .map_err(|_| cut_off("its manifest lies outside of it"))?;
    let symbols = sections
        .symbols(endian, data, elf::SHT_DYNSYM)
        .map_err(|_| cut_off("the table of symbols lies outside of it"))?;
    let exports_root = symbols.iter().any(|symbol| {
        !symbol.is_undefined(endian)
            && symbol
                .name(endian, symbols.strings())
                .is_ok_and(|name| name == ROOT_SYMBOL.as_bytes())
    });
    if exports_root {
        Ok(manifest)
    } else {
        Err(LoadFault::NoRootSymbol)
    }
}

fn cut_off(what: impl Into<String>) -> LoadFault {
    LoadFault::Truncated { what: what.into() }
}

/// Class, byte order and processor, from the first bytes, because what comes after them depends on these.
fn fits_this_machine(data: &[u8]) -> Result<(), LoadFault> {
    let Some(start) = data.first_chunk::<20>() else {
        return Err(cut_off("its header"));
    };
    let expected_order = if cfg!(target_endian = "little") {
        elf::ELFDATA2LSB.0
    } else {
        elf::ELFDATA2MSB.0
    };
    if start[4] != elf::ELFCLASS64.0 || start[5] != expected_order {
        return Err(LoadFault::WrongClass {
            found: class(start[4], start[5]),
            expected: class(elf::ELFCLASS64.0, expected_order),
        });
    }
    let machine = Machine(u16::from_ne_bytes([start[18], start[19]]));
    match this_machine() {
        Some(expected) if expected != machine => Err(LoadFault::WrongMachine {
            found: machine_name(machine),
            expected: std::env::consts::ARCH.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn class(class: u8, order: u8) -> String {
    let bits = match FileClass(class) {
        elf::ELFCLASS32 => "32 bits",
        elf::ELFCLASS64 => "64 bits",
        _ => "an unknown word size",
    };
    let order = match DataEncoding(order) {
        elf::ELFDATA2LSB => "little endian",
        elf::ELFDATA2MSB => "big endian",
        _ => "unknown byte order",
    };
    format!("{bits}, {order}")
}

const MACHINES: [(&str, Machine); 7] = [
    ("x86_64", elf::EM_X86_64),
    ("aarch64", elf::EM_AARCH64),
    ("riscv64", elf::EM_RISCV),
    ("s390x", elf::EM_S390),
    ("powerpc64", elf::EM_PPC64),
    ("loongarch64", elf::EM_LOONGARCH),
    ("x86", elf::EM_386),
];

fn this_machine() -> Option<Machine> {
    MACHINES
        .iter()
        .find(|(name, _)| *name == std::env::consts::ARCH)
        .map(|(_, machine)| *machine)
}

fn machine_name(machine: Machine) -> String {
    MACHINES
        .iter()
        .find(|(_, number)| *number == machine)
        .map_or_else(|| format!("number {}", machine.0), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_of_a_real_library_and_no_flipped_byte_of_its_header_makes_it_panic() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (0..4096).chain([whole.len() / 2, whole.len() - 1]) {
            assert!(manifest(&whole[..length]).is_err());
        }
        let mut start = whole[..whole.len().min(1 << 20)].to_vec();
        for at in 0..1024 {
            let before = start[at];
            for value in [0, 0x7f, 0xff] {
                start[at] = value;
                assert!(manifest(&start).is_err());
            }
            start[at] = before;
        }
    }

    #[test]
    fn a_program_is_called_one() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(
            manifest(&whole),
            Err(LoadFault::NotSharedLibrary {
                found: "a program".into()
            })
        );
    }

    #[test]
    fn another_processor_and_another_class_are_named() {
        let mut other = vec![0; 64];
        other[..4].copy_from_slice(&elf::ELFMAG);
        other[4] = elf::ELFCLASS32.0;
        other[5] = elf::ELFDATA2LSB.0;
        let fault = manifest(&other).unwrap_err();
        assert!(fault.to_string().contains("32 bits"), "{fault}");

        other[4] = elf::ELFCLASS64.0;
        other[5] = if cfg!(target_endian = "little") {
            elf::ELFDATA2LSB.0
        } else {
            elf::ELFDATA2MSB.0
        };
        other[18..20].copy_from_slice(&elf::EM_S390.0.to_ne_bytes());
        let fault = manifest(&other).unwrap_err();
        assert!(fault.to_string().contains("processor s390x"), "{fault}");
    }
}
