#!@shell@
@header_lines@
# Run by a batch system or by the node's wrapper; see docs/job-script.md. Words in @...@ are filled in by script.py. Whatever comes
# from a request or from the configuration is quoted and goes through eval, so that a mistake in it stays where it is.

# Galaxy asks in this way whether a script that was just written can be executed already.
if [ -n "${ABC_TEST_JOB_SCRIPT_INTEGRITY_XYZ:-}" ]; then
    exit 42
fi

# One short write is whole or not at all, so no process need be started to put it in place.
_pulsar_record() { # EXIT_CODE
    if [ -e @return_code@ ] || [ -L @return_code@ ]; then # whatever the job has put there
        command -p rm -rf @return_code@
    fi
    builtin printf '%s\n' "$1" >| @return_code@
}

_pulsar_give_up() { # MESSAGE
    printf 'job script: %s\n' "$1" >&2
    _pulsar_record 1
    exit 1
}

_pulsar_is_positive() { # WORD
    case "$1" in
        '' | *[!0-9]* | ??????????????????*) return 1 ;;
        *) ((10#$1 > 0)) ;;
    esac
}

# Directories. A batch system may run a script again; then the job finds what it found the first time. The snapshot of an empty
# directory is an empty directory, so the usual job costs one mkdir. A copy gets its name when it is whole: what bears the name
# <directory>.orig is complete, even if an earlier run was killed at any point.

_pulsar_is_empty() { # DIRECTORY
    local entry
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then
            return 1
        fi
    done
}

_pulsar_snapshot() { # DIRECTORY
    local part="@part_prefix@$1.orig"
    if [ -e "$part" ]; then
        rm -rf "$part"
    fi
    if ! { cp -RPp "$1" "$part" && mv "$part" "$1.orig"; }; then
        rm -rf "$part"
        printf 'job script: no snapshot of %s was made; if this job is run again it will not start clean\n' "$1" >&2
    fi
}

_pulsar_restore() { # DIRECTORY
    { rm -rf "$1" && cp -RPp "$1.orig" "$1"; } || _pulsar_give_up "cannot restore $1 from $1.orig for this new run"
}

_pulsar_move_aside() { # NAME
    local stamp
    printf -v stamp '%(%Y%m%d-%H%M%S)T' -1 2> /dev/null || stamp=$(date +%Y%m%d-%H%M%S) # bash before 4.2
    while [ -e "$1.$stamp" ]; do
        stamp+=x
    done
    mv "$1" "$1.$stamp"
}

_pulsar_prepare_directories() {
    local directory
    local -a missing=()
    if [ -e return_code ]; then # of an earlier run, which does not count any more
        rm -rf return_code
    fi
    for directory in working outputs configs; do
        if [ -d "$directory.orig" ]; then
            _pulsar_restore "$directory"
        elif [ ! -d "$directory" ]; then
            missing+=("$directory" "$directory.orig")
        elif _pulsar_is_empty "$directory"; then
            missing+=("$directory.orig")
        else
            _pulsar_snapshot "$directory"
        fi
    done
    for directory in @own_directories@; do
        if [ "$directory" = tmp ] && { [ -e tmp ] || [ -L tmp ]; }; then
            _pulsar_move_aside tmp
        fi
        if [ ! -d "$directory" ]; then
            missing+=("$directory")
        fi
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        mkdir -p "${missing[@]}" || _pulsar_give_up "cannot create the job's directories"
    fi
}

# Slots and memory: what the batch system granted, under the names that tools know.

_pulsar_find_slots() {
    local line lines=0
    export GALAXY_SLOTS_CONFIGURED=1
    if _pulsar_is_positive "${SLURM_CPUS_ON_NODE:-}"; then
        GALAXY_SLOTS=$SLURM_CPUS_ON_NODE
    elif _pulsar_is_positive "${SLURM_NTASKS:-}" || _pulsar_is_positive "${SLURM_CPUS_PER_TASK:-}"; then
        _pulsar_is_positive "${SLURM_NTASKS:-}" && GALAXY_SLOTS=$SLURM_NTASKS || GALAXY_SLOTS=1
        _pulsar_is_positive "${SLURM_CPUS_PER_TASK:-}" && GALAXY_SLOTS=$((10#$GALAXY_SLOTS * 10#$SLURM_CPUS_PER_TASK))
    elif _pulsar_is_positive "${NSLOTS:-}"; then
        GALAXY_SLOTS=$NSLOTS
    elif _pulsar_is_positive "${NCPUS:-}"; then
        GALAXY_SLOTS=$NCPUS
    elif _pulsar_is_positive "${PBS_NCPUS:-}"; then
        GALAXY_SLOTS=$PBS_NCPUS
    elif [ -s "${PBS_NODEFILE:-}" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            lines=$((lines + 1))
        done < "$PBS_NODEFILE"
        GALAXY_SLOTS=$lines
    elif _pulsar_is_positive "${LSB_DJOB_NUMPROC:-}"; then
        GALAXY_SLOTS=$LSB_DJOB_NUMPROC
    elif _pulsar_is_positive "${GALAXY_SLOTS:-}"; then
        :
    elif _pulsar_is_positive "${PYTHON_CPU_COUNT:-}"; then
        GALAXY_SLOTS=$PYTHON_CPU_COUNT
    else
        GALAXY_SLOTS=1
        unset GALAXY_SLOTS_CONFIGURED
    fi
}

_pulsar_find_memory() {
    local report number fraction kibibytes
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        report=$(scontrol -do show job "$SLURM_JOB_ID")
        # One entry for each node, in MB; the script runs on the first.
        if [[ $report =~ (^|[[:space:]])Mem=([0-9]+)([KMGT]?)([[:space:]]|$) ]]; then
            number=$((10#${BASH_REMATCH[2]}))
            case "${BASH_REMATCH[3]}" in
                K) GALAXY_MEMORY_MB=$((number / 1024)) ;;
                G) GALAXY_MEMORY_MB=$((number * 1024)) ;;
                T) GALAXY_MEMORY_MB=$((number * 1048576)) ;;
                *) GALAXY_MEMORY_MB=$number ;;
            esac
        else
            printf 'scontrol told no memory for job %s\n' "$SLURM_JOB_ID" >&2
        fi
    fi
    # Granted for each slot. Grid Engine counts in 1024 after a capital letter and in 1000 after a small one. A plain number is
    # bytes to Grid Engine and MB to other servers of this protocol; one that would be a terabyte for each slot is bytes.
    if [[ ${SGE_HGR_h_vmem:-} =~ ^([0-9]{1,15})(\.([0-9]{1,3})[0-9]*)?([KMGTkmgt]?)$ ]]; then
        number=$((10#${BASH_REMATCH[1]}))
        fraction=${BASH_REMATCH[3]}000
        case "${BASH_REMATCH[4]}" in
            K) kibibytes=1 ;;
            M) kibibytes=1024 ;;
            G) kibibytes=1048576 ;;
            T) kibibytes=1073741824 ;;
            k) kibibytes=0 ;;
            m) kibibytes=976 ;;
            g) kibibytes=976562 ;;
            t) kibibytes=976562500 ;;
            *) kibibytes=1024 ;;
        esac
        if [ -z "${BASH_REMATCH[4]}" ] && ((number >= 1048576)); then
            GALAXY_MEMORY_MB_PER_SLOT=$((number / 1048576))
        else
            GALAXY_MEMORY_MB_PER_SLOT=$(((number * 1000 + 10#${fraction:0:3}) * kibibytes / 1000 / 1024))
        fi
    elif [ -n "${SGE_HGR_h_vmem:-}" ]; then
        printf 'SGE_HGR_h_vmem is not an amount of memory: %s\n' "$SGE_HGR_h_vmem" >&2
    fi
}

_pulsar_derive_memory() {
    local slots=1
    if _pulsar_is_positive "${GALAXY_SLOTS:-}"; then
        slots=$((10#$GALAXY_SLOTS))
    fi
    if ! _pulsar_is_positive "${GALAXY_MEMORY_MB:-}"; then
        if [ -n "${GALAXY_MEMORY_MB:-}" ]; then
            printf 'GALAXY_MEMORY_MB is not a positive number: %s\n' "$GALAXY_MEMORY_MB" >&2
        fi
        unset GALAXY_MEMORY_MB
    fi
    if ! _pulsar_is_positive "${GALAXY_MEMORY_MB_PER_SLOT:-}"; then
        unset GALAXY_MEMORY_MB_PER_SLOT
    fi
    if [ -n "${GALAXY_MEMORY_MB:-}" ]; then
        if [ -z "${GALAXY_MEMORY_MB_PER_SLOT:-}" ] && ((10#$GALAXY_MEMORY_MB >= slots)); then
            GALAXY_MEMORY_MB_PER_SLOT=$((10#$GALAXY_MEMORY_MB / slots))
        fi
        export GALAXY_MEMORY_MB
    elif [ -n "${GALAXY_MEMORY_MB_PER_SLOT:-}" ]; then
        export GALAXY_MEMORY_MB=$((10#$GALAXY_MEMORY_MB_PER_SLOT * slots))
    fi
    if [ -n "${GALAXY_MEMORY_MB_PER_SLOT:-}" ]; then
        export GALAXY_MEMORY_MB_PER_SLOT
    fi
}

# Galaxy's command lines call this function again, with True, before they run a part of Galaxy itself.
_galaxy_setup_environment() { # USE_GALAXY_LIB: True or anything else
    local directory
    @env_statements@
    for directory in "$_GALAXY_JOB_HOME_DIR" "$_GALAXY_JOB_TMP_DIR"; do
        if [ -n "$directory" ] && [ ! -d "$directory" ]; then
            mkdir -p "$directory"
        fi
    done
    : "${TMPDIR:=${TMP:-${TEMP:-$_GALAXY_JOB_TMP_DIR}}}"
    : "${TMP:=${TEMP:-$TMPDIR}}"
    : "${TEMP:=$TMP}"
    if [ "${1:-}" = True ] && [ "$GALAXY_LIB" != None ]; then
        case ":${PYTHONPATH:-}:" in
            *":$GALAXY_LIB:"*) ;;
            *) export PYTHONPATH="$GALAXY_LIB${PYTHONPATH:+:$PYTHONPATH}" ;;
        esac
    fi
    if [ "$GALAXY_VIRTUAL_ENV" != None ] && [ -f "$GALAXY_VIRTUAL_ENV/bin/activate" ]; then
        hash -r
        hash python 2> /dev/null || :
        if [ "${BASH_CMDS[python]:-}" != "$GALAXY_VIRTUAL_ENV/bin/python" ]; then
            . "$GALAXY_VIRTUAL_ENV/bin/activate"
        fi
    fi
}

# In braces, so that all of it is read before any of it runs: nothing that happens to this file later changes the job.
{
    cd @job_directory@ || _pulsar_give_up 'the job directory is gone'
    _pulsar_prepare_directories

    @slots_statement@
    export GALAXY_SLOTS

    export PYTHONWARNINGS=ignore
    GALAXY_VIRTUAL_ENV=@galaxy_virtual_env@
    _GALAXY_VIRTUAL_ENV=@galaxy_virtual_env@
    GALAXY_LIB=@galaxy_lib@
    PRESERVE_GALAXY_ENVIRONMENT=@preserve_galaxy_environment@
    _GALAXY_JOB_DIR=@working_directory@
    export _GALAXY_JOB_HOME_DIR=@home_directory@
    @tmp_statement@
    export _GALAXY_JOB_TMP_DIR

    cd @working_directory@ || _pulsar_give_up 'the working directory is gone'
    _galaxy_setup_environment "$PRESERVE_GALAXY_ENVIRONMENT"
    # A set -e of an environment file is meant for the command, not for this script.
    case $- in
        *e*) _pulsar_errexit=-e ;;
        *) _pulsar_errexit=+e ;;
    esac
    set +e
    hash -r
    hash python 2> /dev/null
    GALAXY_PYTHON=${BASH_CMDS[python]:-}

    {
        @memory_given@
        @memory_statement@
        _pulsar_derive_memory
    } 2>| @memory_log@

    @exit_commands@
    cd @working_directory@ || _pulsar_give_up 'the working directory is gone'
    @pre_commands@
    # In a process of its own: an exit, exec, cd or set -e of the command, or its death, ends or changes only that.
    # It is read from a here-document, because bash takes minutes for a quoted word of some MiB that has many quotes in it.
    (
        IFS= read -r -d '' _pulsar_command << '@command_end@'
@command@
@command_end@
        set "$_pulsar_errexit"
        eval -- "$_pulsar_command"
    )
    return_code=$?
    _pulsar_record "$return_code"
    @post_commands@
    exit "$return_code"
}
