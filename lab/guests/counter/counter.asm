; The smallest guest that can prove that no acknowledged write was lost.
;
; It counts in sector 1 of its disk: read, add one, write, read back, and only then print the
; number on the first serial port. A number that was printed is therefore a write that the disk
; acknowledged. "boot N" tells the number found at start, "BAD ..." that the sector is not what
; this program left there; it then stops, so that damage is never counted over.
;
; Sector 1:  0 "TANDEMCT"   8 counter (32 bit)   12 its complement   508 the counter again
; (the copy at the end would show a torn sector).
;
; Assemble: nasm -f bin -o counter.bin counter.asm

        bits 16
        org 0x7c00

COM1            equ 0x3f8
TICKS           equ 0x046c      ; BIOS: 18.2 per second
PAUSE_TICKS     equ 2           ; about 9 numbers a second
COUNTER         equ 0x1000      ; buffer for the counter sector
CHECK           equ 0x1200      ; buffer for what reads back

start:
        jmp 0:entry
entry:
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        mov [drive], dl
        sti
        cld

        mov bx, COUNTER
        mov ah, 0x42
        call disk
        call verify
        mov si, text_boot
        call print
        mov eax, [COUNTER + 8]
        call print_number

again:
        mov eax, [COUNTER + 8]
        inc eax
        mov [COUNTER + 8], eax
        mov [COUNTER + 508], eax
        not eax
        mov [COUNTER + 12], eax

        mov bx, COUNTER
        mov ax, 0x4300          ; write, without the BIOS's own verify
        call disk
        mov bx, CHECK
        mov ah, 0x42
        call disk
        mov si, COUNTER
        mov di, CHECK
        mov cx, 256
        repe cmpsw
        mov si, text_readback
        jne bad

        mov eax, [COUNTER + 8]
        call print_number

        mov cx, PAUSE_TICKS
pause:  mov bx, [TICKS]
.same:  hlt
        cmp bx, [TICKS]
        je .same
        loop pause
        jmp again

; One sector, AX = BIOS function, between sector 1 and 0:BX.
disk:
        mov word [packet], 0x10 ; some BIOSes write to it
        mov word [packet + 2], 1
        mov [packet + 4], bx
        mov si, packet
        mov dl, [drive]
        int 0x13
        mov si, text_io
        jc bad
        ret

verify:
        mov si, COUNTER
        mov di, magic
        mov cx, 4
        repe cmpsw
        mov si, text_magic
        jne bad
        mov eax, [COUNTER + 8]
        mov si, text_torn
        cmp eax, [COUNTER + 508]
        jne bad
        not eax
        cmp eax, [COUNTER + 12]
        jne bad
        ret

bad:
        push si
        mov si, text_bad
        call print
        pop si
        call print
        call newline
.stop:  hlt
        jmp .stop

print_number:                   ; EAX in decimal, and the end of the line
        mov di, digits_end
        mov ebx, 10
.next:  xor edx, edx
        div ebx
        add dl, '0'
        dec di
        mov [di], dl
        test eax, eax
        jnz .next
        mov si, di
        call print
newline:
        mov al, 10
putc:
        push dx
        push ax
        mov dx, COM1 + 5
.busy:  in al, dx
        test al, 0x20
        jz .busy
        pop ax
        mov dx, COM1
        out dx, al
        pop dx
        ret

print:                          ; the zero-ended text at SI
        lodsb
        test al, al
        jz .done
        call putc
        jmp print
.done:  ret

magic           db "TANDEMCT"
text_boot       db "boot ", 0
text_bad        db "BAD ", 0
text_io         db "disk error", 0
text_magic      db "magic", 0
text_torn       db "torn", 0
text_readback   db "read-back differs", 0
drive           db 0
packet          dw 0x10, 1, 0, 0, 1, 0, 0, 0
digits          times 10 db 0
digits_end      db 0

        times 510 - ($ - $$) db 0
        dw 0xaa55
